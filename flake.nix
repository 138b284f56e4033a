{
  description = "taskchat: a conversational task service";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      each =
        make:
        nixpkgs.lib.genAttrs systems (
          system:
          make {
            pkgs = nixpkgs.legacyPackages.${system};
            own = self.packages.${system};
          }
        );
      inherit (nixpkgs.lib) fileset;
      manifest = nixpkgs.lib.importJSON ./package.json;
      inherit (manifest) version;
    in
    {
      # Node.js, and PostgreSQL and Redis for the tests that want real ones: entering it is the whole set-up.
      devShells = each (
        { pkgs, ... }:
        {
          default = pkgs.mkShell {
            packages = [
              pkgs.nodejs_22
              pkgs.postgresql
              pkgs.redis
            ];
          };
        }
      );

      packages = each (
        { pkgs, own }:
        {
          # What the program is made of, at the versions of package-lock.json: JavaScript alone, the same on every system. After
          # a change of package-lock.json Nix tells the new hash.
          modules = pkgs.stdenvNoCC.mkDerivation {
            pname = "taskchat-modules";
            inherit version;
            src = fileset.toSource {
              root = ./.;
              fileset = fileset.unions [
                ./package.json
                ./package-lock.json
                ./.npmrc
              ];
            };
            nativeBuildInputs = [
              pkgs.nodejs_22
              pkgs.cacert
            ];
            buildPhase = ''
              export HOME=$TMPDIR
              npm ci --omit=optional --ignore-scripts
              rm node_modules/.package-lock.json
            '';
            installPhase = "cp -r node_modules $out";
            dontFixup = true;
            outputHashMode = "recursive";
            outputHash = "sha256-ZxVnCuIhYXQFRCug0n/dHqhZZPdx0FynxAopnWHy7eQ=";
          };

          # The command, from the same sources and in the same form as the package of npm.
          default = pkgs.stdenvNoCC.mkDerivation {
            pname = "taskchat";
            inherit version;
            src = fileset.toSource {
              root = ./.;
              fileset = fileset.unions [
                ./deploy
                ./package.json
                ./src
                ./tsconfig.json
              ];
            };
            nativeBuildInputs = [
              pkgs.esbuild
              pkgs.makeWrapper
              pkgs.nodejs_22
            ];
            buildPhase = ''
              cp -r ${own.modules} node_modules
              npm run --silent bundle
            '';
            # All packages but the embedded database are in the program.
            installPhase = ''
              mkdir -p $out/lib/taskchat/node_modules/@electric-sql $out/bin
              cp -r package.json dist $out/lib/taskchat
              cp -r ${own.modules}/@electric-sql/pglite $out/lib/taskchat/node_modules/@electric-sql
              makeWrapper ${pkgs.nodejs_22}/bin/node $out/bin/taskchat --add-flags $out/lib/taskchat/dist/bin/main.js
            '';
            meta = {
              inherit (manifest) description;
              license = nixpkgs.lib.licenses.mit;
              mainProgram = "taskchat";
            };
          };

          # For `docker load < result`; Linux' own.
          image = pkgs.dockerTools.buildLayeredImage {
            name = "taskchat";
            tag = version;
            contents = [ pkgs.cacert ];
            extraCommands = "mkdir -m 1777 tmp data";
            config = {
              Entrypoint = [ "${own.default}/bin/taskchat" ];
              Cmd = [ "serve" ];
              User = "1000:1000";
              WorkingDir = "/data";
              Env = [
                "NODE_ENV=production"
                "HOST=0.0.0.0"
                "DATA_DIR=/data"
              ];
              ExposedPorts."3000/tcp" = { };
            };
          };
        }
      );

      # `nix run . -- serve`, or any other of its commands; data stays in the folder it is run in.
      apps = each (
        { pkgs, own }:
        let
          taskchat = pkgs.writeShellApplication {
            name = "taskchat";
            runtimeInputs = [ own.default ];
            text = ''
              if [ $# -eq 0 ]; then set -- serve; fi
              exec taskchat "$@"
            '';
          };
        in
        {
          default = {
            type = "app";
            program = "${taskchat}/bin/taskchat";
          };
        }
      );
    };
}
