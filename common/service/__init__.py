"""What keeps processes running on a server and at a site; knows neither Flower nor torch."""
