"""Says what a trained network sees on photos. `--help` lists the flags; README.md has examples."""

from slimzoo.drivers import classify_images as main

if __name__ == "__main__":
    main()
