package icontrol

// Quiet: no login or renewal is under way.
func (c *Client) Quiet() bool {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.flight == nil
}
