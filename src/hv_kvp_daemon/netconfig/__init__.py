"""What a network adapter has, as GET_IP_INFO answers it."""
