"""What a service is: declared (`service`), as the user's file says it (`document`), and resolved (`manifest`).

These types touch no disk, no network and no subprocess.
"""

__all__: list[str] = []
