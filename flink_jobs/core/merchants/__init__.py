"""Merchants in the stream: the step of one merchant, the rows that it publishes, and the detector's table of rows."""
