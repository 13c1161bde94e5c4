"""The parts of the sampler `bayesian`: models of the objective, and what they search."""
