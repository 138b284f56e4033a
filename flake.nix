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
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      # Node.js, and PostgreSQL and Redis for the tests that want real ones: entering it is the whole set-up.
      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.nodejs_22
            pkgs.postgresql
            pkgs.redis
          ];
        };
      });

      # `nix run . -- serve`, or any other of its commands. It is built once per version in the user's cache, by npm from
      # package-lock.json; data stays in the folder it is run in.
      apps = each (
        pkgs:
        let
          taskchat = pkgs.writeShellApplication {
            name = "taskchat";
            runtimeInputs = [ pkgs.nodejs_22 ];
            text = ''
              built="''${XDG_CACHE_HOME:-$HOME/.cache}/taskchat/${builtins.baseNameOf self.outPath}"
              if [ ! -e "$built/ready" ]; then
                rm -rf "$built"
                mkdir -p "$built"
                cp -r --no-preserve=mode ${self}/. "$built"
                (cd "$built" && npm ci && npm run build && touch ready) >&2
              fi
              if [ $# -eq 0 ]; then set -- serve; fi
              exec node "$built/dist/main.js" "$@"
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
