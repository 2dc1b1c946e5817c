"""Encoders that ask with what is known ahead: the past and the covariates of the horizon in, one vector out."""
