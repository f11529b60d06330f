"""Writes a post and shows it as it grows; then three headlines for it, as JSON.

python write.py "A travel mug that keeps coffee hot for twelve hours"
"""

from __future__ import annotations

import sys

from presswork_client import Delta, JobFailed, Presswork, Retrying

HEADLINES = {
    "type": "object",
    "properties": {"headlines": {"type": "array", "items": {"type": "string", "maxLength": 80}, "minItems": 3}},
    "required": ["headlines"],
    "additionalProperties": False,
}


def main(product: str) -> int:
    """Write about a product; the exit status."""
    with Presswork() as presswork:
        post = presswork.submit(f"Write a post about our new product: {product}", platform="linkedin")
        headlines = presswork.submit(f"Three headlines for: {product}", response_schema=HEADLINES)  # runs beside it

        for event in post.events():
            if isinstance(event, Delta):
                print(event.text, end="", flush=True)
            elif isinstance(event, Retrying):
                print(f"\n--- it begins again ({event.reason}) ---")
        print("\n")

        try:
            for headline in headlines.json(timeout=120)["headlines"]:
                print("*", headline)
        except JobFailed as failed:
            print("no headlines:", failed, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "a travel mug that keeps coffee hot for twelve hours"))
