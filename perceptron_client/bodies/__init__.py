"""What is sent: training requests, tables, and rows to predict for."""
