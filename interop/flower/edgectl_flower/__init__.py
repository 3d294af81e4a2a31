"""Federations of edgectl under Flower: a ClientApp and a ServerApp that call the command."""
