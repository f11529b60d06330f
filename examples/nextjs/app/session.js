// Who is signed in. Put the session of your product here; null: nobody is, and the API answers 401.

export async function signedIn(request) {
  const user = /(?:^|;\s*)user=([\w-]+)/.exec(request.headers.get('cookie') ?? '')?.[1] ?? 'guest';
  return { userId: user, projectId: 'project-123', organizationId: process.env.PRESSWORK_ORGANIZATION ?? 'org-789' };
}
