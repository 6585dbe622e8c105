"""The parts of the conductor: what brings one environment up, looks at it and takes it away."""
