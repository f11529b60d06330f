export { Presswork } from './client.js';
export { JobFailed, PressworkError } from './errors.js';
export { Job } from './job.js';
