"""What the engines that run containers share: reaching the engine, its command line, its images, its events."""
