"""What a real instrument has to do, and how a correction becomes gray levels on its panel.

Begin with ``protocols``: a vendor's adapter fulfills them and is loaded by name (``loading``). ``slm_mask`` alone turns
phase into gray levels; ``mask_files`` writes them for the vendor's own software.
"""
