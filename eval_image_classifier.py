"""Evaluates a trained image classifier. `--help` lists the flags; README.md has examples."""

from slimzoo.drivers import eval_image_classifier as main

if __name__ == "__main__":
    main()
