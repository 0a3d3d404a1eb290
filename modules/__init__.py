"""The model, its data, its training and its decoding. Imports run scripts -> modules -> utils."""
