"""StreamFlow: real-time card-fraud detection on Apache Flink."""
