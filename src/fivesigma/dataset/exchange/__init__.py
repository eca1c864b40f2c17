"""Datasets for other tools: Parquet, HDF5, LMDB, NumPy; written with checksums, read back, proved equal."""

from fivesigma.dataset.exchange.exchange import EXCHANGE_FORMATS, ExchangeFile, read_exchange, write_exchange

__all__ = ["EXCHANGE_FORMATS", "ExchangeFile", "read_exchange", "write_exchange"]
