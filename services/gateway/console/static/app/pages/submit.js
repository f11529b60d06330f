// A new job, or an earlier one, edited.

import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.js';
import { api } from '../api.js';
import { useOrganizations } from '../organizations.js';
import { Fallback, Field, Notice, PageHead, faults } from '../parts.js';
import { shortId } from '../format.js';
import { useReading } from '../refresh.js';
import { go, href } from '../router.js';
import { caller, isOperator } from '../session.js';
import { done } from '../toast.js';

const PLATFORMS = ['', 'linkedin', 'x', 'instagram', 'facebook', 'tiktok', 'email', 'blog', 'ad'];
const LENGTHS = ['', 'short', 'medium', 'long'];
const KNOWN = ['platform', 'length', 'tone'];
const FIRST = { projectId: 'console', userId: 'console', prompt: '', priority: 'normal', parameters: {} };

export default function Submit({ query }) {
  const from = query.from;
  const earlier = useReading((signal) => (from ? api.get(`api/ai/jobs/${encodeURIComponent(from)}/request`, {}, signal) : FIRST), [from], { every: 0 });
  return html`
    <div class="page scrolls">
      <${PageHead} title=${from ? 'Edit and submit again' : 'New job'} crumbs=${html`<a href=${href('jobs')}>Jobs</a>`}
        lead=${from ? `A new job with the request of ${shortId(from)}; that job stays as it is.` : 'The text is generated as soon as a worker has a free slot.'} />
      ${earlier.value ? html`<${Form} key=${from} request=${earlier.value} organizationId=${query.organizationId} />` : html`<${Fallback} reading=${earlier} icon="jobs" what="Requests of jobs" />`}
    </div>`;
}

function Form({ request, organizationId }) {
  const organizations = useOrganizations();
  const { platform = '', length = '', tone = '', ...others } = request.parameters ?? {};
  const [values, setValues] = useState({
    organizationId: request.organizationId ?? organizationId ?? '', projectId: request.projectId, userId: request.userId,
    prompt: request.prompt, priority: request.priority ?? 'normal', platform, length, tone,
    others: Object.keys(others).length ? JSON.stringify(others, null, 2) : '',
    model: request.providers?.join(', ') ?? (request.provider && request.model ? `${request.provider}:${request.model}` : ''),
    maxTokens: request.maxTokens ?? '',
  });
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const bad = faults(error);
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const input = (name, more = {}) => html`<input class="input" id=${name} value=${values[name]} onInput=${set(name)} spellcheck="false" autocomplete="off" aria-invalid=${String(Boolean(bad[name]))} ...${more} />`;
  const select = (name, options) => html`<select class="select" id=${name} value=${values[name]} onChange=${set(name)}>${options.map((one) => html`<option value=${one}>${one || 'not set'}</option>`)}</select>`;

  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const accepted = await api.post('api/ai/generate-content', bodyOf(request, values), { 'Idempotency-Key': crypto.randomUUID() });
      done('Submitted 1 job.');
      go(`jobs/${accepted.jobId}`);
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  return html`
    <form class="page-body form" style=${{ maxWidth: '760px' }} onSubmit=${submit}>
      ${error && html`<${Notice} kind="red" title=${error.title || 'The job was not accepted'}>${error.message}<//>`}
      <${Field} id="prompt" label="Prompt" bad=${bad.prompt}>
        <textarea class="area" id="prompt" rows="7" required autofocus value=${values.prompt} onInput=${set('prompt')} aria-invalid=${String(Boolean(bad.prompt))}></textarea><//>
      <div class="form-row">
        <${Field} id="platform" label="Platform">${select('platform', withOwn(PLATFORMS, values.platform))}<//>
        <${Field} id="length" label="Length">${select('length', withOwn(LENGTHS, values.length))}<//>
        <${Field} id="tone" label="Tone">${input('tone', { placeholder: 'professional' })}<//>
      </div>
      <div class="form-row">
        ${isOperator.value && html`<${Field} id="organizationId" label="Organisation" bad=${bad.organizationId}>${input('organizationId', { required: true, list: 'organizations' })}
          <datalist id="organizations">${organizations.map((id) => html`<option value=${id}></option>`)}</datalist><//>`}
        <${Field} id="projectId" label="Project" bad=${bad.projectId}>${input('projectId', { required: true })}<//>
        <${Field} id="userId" label="User" bad=${bad.userId}>${input('userId', { required: true })}<//>
      </div>
      <div class="form-row">
        <${Field} id="priority" label="Priority">${select('priority', ['high', 'normal', 'low'])}<//>
        <${Field} id="model" label="Models" hint="provider:model, in order of preference; empty: those of the fleet" bad=${bad.providers}>${input('model', { class: 'input mono' })}<//>
        <${Field} id="maxTokens" label="Most tokens" bad=${bad.maxTokens}>${input('maxTokens', { type: 'number', min: 1 })}<//>
      </div>
      <${Field} id="others" label="Other parameters" hint="As JSON, for example an audience or a language" bad=${bad.parameters}>
        <textarea class="area mono" id="others" rows="3" spellcheck="false" placeholder='{"audience": "developers"}' value=${values.others} onInput=${set('others')}></textarea><//>
      <div style=${{ display: 'flex', gap: '8px' }}>
        <button class="button primary" disabled=${busy}>${busy ? 'Submitting…' : `Submit 1 job${isOperator.value && values.organizationId ? ` for ${values.organizationId}` : ''}`}</button>
        <a class="button" href=${href('jobs')}>Back</a>
      </div>
    </form>`;
}

const withOwn = (options, own) => (options.includes(own) ? options : [...options, own]);

// The body of the call; fields that the form does not show stay as they were. A SyntaxError names the parameters.
function bodyOf(request, values) {
  const { provider, model, providers, ...rest } = request;
  let parameters;
  try {
    parameters = values.others.trim() ? JSON.parse(values.others) : {};
  } catch {
    throw Object.assign(new Error('The other parameters are not JSON.'), { problem: { errors: [{ field: 'parameters', message: 'not JSON' }] } });
  }
  for (const name of KNOWN) if (values[name]) parameters[name] = values[name];
  const names = values.model.split(/[\s,]+/).filter(Boolean);
  const body = {
    ...rest, projectId: values.projectId.trim(), userId: values.userId.trim(), prompt: values.prompt, priority: values.priority, parameters,
    ...(names.length ? { providers: names } : {}), ...(values.maxTokens ? { maxTokens: Number(values.maxTokens) } : {}),
  };
  if (!values.maxTokens) delete body.maxTokens;
  if (isOperator.value) body.organizationId = values.organizationId.trim();
  else body.organizationId = caller.value.organizationId;
  return body;
}
