"""A Discord on 127.0.0.1: REST, gateway v10, voice gateway v8, a UDP relay with faults, and people."""
