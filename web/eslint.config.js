import tseslint from "typescript-eslint";

export default tseslint.config(
  tseslint.configs.recommendedTypeChecked,
  tseslint.configs.stylistic,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    files: ["**/*.ts"],
    rules: {
      "id-length": ["error", { exceptions: ["i", "j", "k", "_"] }],
      "no-console": ["error", { allow: ["error"] }],
      "@typescript-eslint/no-magic-numbers": [
        "error",
        { ignore: [-1, 0, 0.5, 1, 2, 3, 4, 10, 16, 100, 1000], ignoreEnums: true, ignoreReadonlyClassProperties: true },
      ],
    },
  },
  {
    // Tables of colours.
    files: ["src/colours.ts"],
    rules: { "@typescript-eslint/no-magic-numbers": "off" },
  },
  { ignores: ["eslint.config.js", "tests/*.mjs", "node_modules"] },
);
