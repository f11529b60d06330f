"""Running Presswork: the laptop supervisor and the files of each platform."""
