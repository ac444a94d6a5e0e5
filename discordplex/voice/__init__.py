"""The Discord wire: voice gateway v8, RTP, transport encryption, end-to-end encryption."""
