"""Adapters that let other people's evaluators score our models."""
