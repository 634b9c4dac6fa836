"""The contract as an examination of one device on a broker: what it promises, tried, clause by clause."""
