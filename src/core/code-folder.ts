/**
 * What stands beside the folder of an artefact, after its name: a file that names the tree of its `node_modules`. The name
 * follows from all that is in the tree, so that two folders with the same name have the same packages.
 */
export const PACKAGES_NAME = '.packages'
