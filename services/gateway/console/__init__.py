"""The console and the front page: static files, and the session of a browser that signed in."""
