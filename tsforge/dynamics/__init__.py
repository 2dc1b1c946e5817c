"""Dynamics: what the delay vectors of a series say about the system behind it. docs/dynamics.md says how to choose."""

from tsforge.dynamics.cao import CaoCurves, cao, embedding_dimension
from tsforge.dynamics.correlation import CorrelationDimension, correlation_dimension, correlation_sum
from tsforge.dynamics.embedding import delay_embed, delay_unembed
from tsforge.dynamics.lag import autocorrelation, lag_by_acf, lag_by_mutual_information, mutual_information
from tsforge.dynamics.lyapunov import DivergenceCurve, divergence_curve, largest_lyapunov
from tsforge.dynamics.neighbours import FalseNeighbours, false_neighbours
from tsforge.dynamics.recurrence import determinism, recurrence_matrix, recurrence_rate
from tsforge.dynamics.section import Section, poincare_section
from tsforge.dynamics.spectrum import flow_spectrum, kaplan_yorke_dimension, map_spectrum
from tsforge.dynamics.zero_one import zero_one_test

__all__ = [
    "CaoCurves", "CorrelationDimension", "DivergenceCurve", "FalseNeighbours", "Section", "autocorrelation", "cao",
    "correlation_dimension", "correlation_sum", "delay_embed", "delay_unembed", "determinism", "divergence_curve",
    "embedding_dimension", "false_neighbours", "flow_spectrum", "kaplan_yorke_dimension", "lag_by_acf",
    "lag_by_mutual_information", "largest_lyapunov", "map_spectrum", "mutual_information", "poincare_section",
    "recurrence_matrix", "recurrence_rate", "zero_one_test",
]
