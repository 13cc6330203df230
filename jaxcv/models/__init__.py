"""Networks: each file has a linen module `Model`. What they have in common is said here once.

`model.apply(variables, image, train=...)` takes float images (b, h, w, c) with any number of channels c and returns
(output, stages). The output of a classifier is logits (b, num_classes), that of a network for dense prediction logits
(b, h, w, num_classes). `stages` has the output of each part of the network by name, from first to last.

Fields with the same meaning everywhere:

    num_classes   outputs; None, where allowed, leaves out the classifier, and the output is features (b, d)
    width         channels of the first stage; those of all others scale with it
    hidden        widths of the hidden layers before the output
    dropout       the rate of dropout
    dtype         float dtype, or its name, of the computation; parameters, batch statistics and the output are float32

Where a reference implementation exists, modules have its names, so its weights load, and the same initial distribution.
ConfigError: a field has an impossible value. UserError: an image is too small.
"""
