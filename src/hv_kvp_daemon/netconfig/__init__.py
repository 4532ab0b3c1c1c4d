"""Network configuration: what GET_IP_INFO answers."""
