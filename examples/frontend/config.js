// Where the API and the event streams are, when it is not the origin of this page: no slash at the end.
// Cross-origin, gateway and notifier need this page's origin in CORS_ALLOWED_ORIGINS.
window.PRESSWORK = { api: '', events: '' };
