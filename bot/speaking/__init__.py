"""Having a voice say something, for `/say`, a message's menu and the button "Again"."""
