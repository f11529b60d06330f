// The guide's two front-end snippets, run unchanged except that fetch knows the origin a browser would add.
const origin = process.argv[2];
const browserFetch = globalThis.fetch;
const fetch = (path, options) => browserFetch(new URL(path, origin), options);

const submitted = await (async () => {
  const response = await fetch('/api/ai/generate-content', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      projectId: 'project-123',
      userId: 'user-456',
      organizationId: 'org-789',
      prompt: 'Create a social media post about our new product',
      parameters: {
        tone: 'professional',
        length: 'short',
        platform: 'linkedin'
      },
      priority: 'high'
    })
  });

  const { jobId } = await response.json();
  return jobId;
})();

const jobId = submitted;
for (let tries = 0; tries < 200; tries++) {
  const response = await fetch(`/api/ai/job-status?jobId=${jobId}`);
  const { status, result } = await response.json();

  if (status === 'completed') {
    console.log(JSON.stringify({ jobId, result }));
    process.exit(0);
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
}
process.exit(1);
