"""Feature: what was found. The highlights document and its exports."""
