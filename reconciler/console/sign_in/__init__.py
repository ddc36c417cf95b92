"""How people and programs sign in, and what they may do then.

* `access`: who somebody is by what they show, and which roles they have;
* `link`: the link that `serve` shows on loopback, good once and for ten minutes;
* `oidc`, `fetching`: a provider of OpenID Connect, and how it is asked;
* `tries`: how often somebody may try;
* `pages`: the addresses of it.
"""
