"""How the embedded tiny pair was made: data, models, losses, evaluation."""
