"""The other queues. These modules run in `.venv-bench`, import nothing of Presswork and use each queue's defaults."""
