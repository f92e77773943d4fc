"""Several hosts that train or evaluate together: who they are, how they meet, agree and part."""
