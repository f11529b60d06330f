"""Ways to the server: addresses, the present master, one multiplexed socket, REST."""
