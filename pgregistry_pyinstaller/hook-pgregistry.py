"""PyInstaller runs this for a program that imports pgregistry."""

from pgregistry_pyinstaller import collect

datas, hiddenimports = collect()
