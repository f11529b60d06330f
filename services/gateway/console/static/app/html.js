// JSX without a build step.

import { h } from 'preact';
import htm from 'htm';

export const html = htm.bind(h);

// Joins the class names that are true.
export const classes = (...names) => names.filter(Boolean).join(' ');
