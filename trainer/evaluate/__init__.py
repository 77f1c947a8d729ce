"""Evaluation: what a model found against what experts drew, case by case and class by class."""
