"""The Discord application on py-cord: it decides when a call exists. No audio in here."""
