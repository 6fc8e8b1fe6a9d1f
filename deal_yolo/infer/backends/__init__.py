"""The engines that run the network, behind one protocol."""
