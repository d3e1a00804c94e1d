"""A hospital's side: its data, local training under privacy, evaluation, and the gate that nothing leaves around."""
