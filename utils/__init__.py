"""What any experiment needs; knows neither users nor items."""
