// Addresses of the API and the event streams, when they are not on this page's origin: no slash at the end.
// Cross-origin, gateway and notifier need this page's origin in CORS_ALLOWED_ORIGINS.
window.PRESSWORK = { api: '', events: '' };
