"""`spillway doctor`: whether what Spillway stands on is set up safely, and what to do where it isn't."""

from spillway.doctor.examination import Options, examine
from spillway.doctor.finding import Finding, Level, Report

__all__ = ["Finding", "Level", "Options", "Report", "examine"]
