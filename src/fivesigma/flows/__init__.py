"""Studies of another shape than classification: each flow has words of its own and ends in the same files."""

from fivesigma.flows.flow import FLOWS, Flow, FlowResult, FlowWords, find_flow

__all__ = ["FLOWS", "Flow", "FlowResult", "FlowWords", "find_flow"]
