"""What travels between server and site: named arrays with limits, and their form on Flower's wire and on disk."""
