"""What a forecast is worth: metrics, scores, intervals and reports."""
